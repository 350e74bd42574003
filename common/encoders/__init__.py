"""Encoders: spectrogram to embedding."""

from common.encoders.base import Encoder
from common.encoders.cnn import Cnn1d, Cnn2d
from common.encoders.efficientat import EfficientAT
from common.encoders.panns import Panns
from common.encoders.timm_encoder import TimmEncoder

__all__ = ["Cnn1d", "Cnn2d", "EfficientAT", "Encoder", "Panns", "TimmEncoder"]
