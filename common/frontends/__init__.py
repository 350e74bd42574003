"""Front ends: waveform to spectrogram inside the model."""

from common.frontends.band_pass import BandPass
from common.frontends.base import FrontEnd
from common.frontends.cqt import Cqt
from common.frontends.gammatone import Gammatone
from common.frontends.kaldi_log_mel import KaldiLogMel
from common.frontends.log_mel import LogMel
from common.frontends.mfcc import Mfcc
from common.frontends.panns_log_mel import PannsLogMel
from common.frontends.stacked import Stacked

__all__ = ["BandPass", "Cqt", "FrontEnd", "Gammatone", "KaldiLogMel", "LogMel", "Mfcc", "PannsLogMel", "Stacked"]
