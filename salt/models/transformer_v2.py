"""A face: what upstream's module of this name has, where ours keeps it."""

from salt.nn.attention import Attention
from salt.nn.edges import EdgeAttention
from salt.nn.layers import GLU
from salt.nn.residual import DropPath, LayerScale, NormResidual
from salt.nn.transformer import DecoderLayer, EncoderLayer, Transformer
from salt.nn.transformer import Transformer as TransformerV2

__all__ = [
    "GLU",
    "Attention",
    "DecoderLayer",
    "DropPath",
    "EdgeAttention",
    "EncoderLayer",
    "LayerScale",
    "NormResidual",
    "Transformer",
    "TransformerV2",
]
