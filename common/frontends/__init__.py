"""Front ends: waveform to spectrogram inside the model."""

from common.frontends.base import FrontEnd
from common.frontends.cqt import Cqt
from common.frontends.gammatone import Gammatone
from common.frontends.log_mel import LogMel
from common.frontends.mfcc import Mfcc

__all__ = ["Cqt", "FrontEnd", "Gammatone", "LogMel", "Mfcc"]
