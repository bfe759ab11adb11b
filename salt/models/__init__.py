"""The face that YAML names: `class_path: salt.models.X`; upstream's names are imported from here, too."""

from salt.models.jettagger import JetTagger
from salt.models.maskformer import MaskDecoder
from salt.models.object_losses import ObjectLosses as MaskFormerLoss
from salt.models.r21xbb import R21Xbb
from salt.models.saltmodel import SaltModel
from salt.nn.attention import ScaledDotProductAttention
from salt.nn.edges import EdgeAttention, EdgeConstructor
from salt.nn.embedding import InitNet
from salt.nn.featurewise import FeaturewiseTransformation
from salt.nn.gat import GATv2Attention, GraphTransformer, MultiheadAttention
from salt.nn.layers import GLU, Dense
from salt.nn.norm import InputNorm
from salt.nn.pooling import GlobalAttentionPooling, NodeQueryGAP, Pooling
from salt.nn.positions import PositionalEncoder
from salt.nn.retired import TransformerCrossAttentionEncoder, TransformerEncoder
from salt.nn.transformer import Transformer
from salt.tasks.base import Task as TaskBase
from salt.tasks.classification import ClassificationTask
from salt.tasks.gaussian import GaussianRegressionTask
from salt.tasks.labelled import LabelledTask as Task
from salt.tasks.regression import RegressionTask, RegressionTaskBase
from salt.tasks.vertexing import VertexingTask

TransformerV2 = Transformer
"""Upstream's name of it; not in `__all__`, from which error messages suggest the names of today."""

__all__ = [
    "GLU",
    "ClassificationTask",
    "Dense",
    "EdgeAttention",
    "EdgeConstructor",
    "FeaturewiseTransformation",
    "GATv2Attention",
    "GaussianRegressionTask",
    "GlobalAttentionPooling",
    "GraphTransformer",
    "InitNet",
    "InputNorm",
    "JetTagger",
    "MaskDecoder",
    "MaskFormerLoss",
    "MultiheadAttention",
    "NodeQueryGAP",
    "Pooling",
    "PositionalEncoder",
    "R21Xbb",
    "RegressionTask",
    "RegressionTaskBase",
    "SaltModel",
    "ScaledDotProductAttention",
    "Task",
    "TaskBase",
    "Transformer",
    "TransformerCrossAttentionEncoder",
    "TransformerEncoder",
    "VertexingTask",
]
