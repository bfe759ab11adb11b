"""A face: what upstream's module of this name has, where ours keeps it."""

from salt.nn.attention import Attention
from salt.nn.layers import GLU
from salt.nn.residual import NormResidual
from salt.nn.transformer import EncoderLayer, Transformer
from salt.nn.transformer import Transformer as TransformerV2

__all__ = ["GLU", "Attention", "EncoderLayer", "NormResidual", "Transformer", "TransformerV2"]
