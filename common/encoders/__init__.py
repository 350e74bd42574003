"""Encoders: spectrogram to embedding."""

from common.encoders.ast import Ast
from common.encoders.base import Encoder
from common.encoders.cnn import Cnn1d, Cnn2d
from common.encoders.crnn import Crnn
from common.encoders.efficientat import EfficientAT
from common.encoders.layer_frames import LayerFrames
from common.encoders.panns import Panns
from common.encoders.pooled import Pooled
from common.encoders.timm_encoder import TimmEncoder

__all__ = ["Ast", "Cnn1d", "Cnn2d", "Crnn", "EfficientAT", "Encoder", "LayerFrames", "Panns", "Pooled", "TimmEncoder"]
