"""The engine under the deep adapters: networks, one training loop, checkpoints."""

from __future__ import annotations

from shiftlab.deep.augment import Augmentation
from shiftlab.deep.backbones import BACKBONES, BlockNet, as_block_net, build_backbone, digit_cnn
from shiftlab.deep.checkpoint import load_checkpoint, load_weights, save_checkpoint
from shiftlab.deep.classifier import train_classifier
from shiftlab.deep.devices import LARGEST_SEED
from shiftlab.deep.freeze_search import search_freeze
from shiftlab.deep.images import as_image_array
from shiftlab.deep.nets import TrainedNet
from shiftlab.deep.pretext import pretrain
from shiftlab.deep.pretrained import load_pretrained
from shiftlab.deep.training import History, TrainingError
from shiftlab.deep.transfer import check_transferable, fine_tune

__all__ = [
    "BACKBONES",
    "LARGEST_SEED",
    "Augmentation",
    "BlockNet",
    "History",
    "TrainedNet",
    "TrainingError",
    "as_block_net",
    "as_image_array",
    "build_backbone",
    "check_transferable",
    "digit_cnn",
    "fine_tune",
    "load_checkpoint",
    "load_pretrained",
    "load_weights",
    "pretrain",
    "save_checkpoint",
    "search_freeze",
    "train_classifier",
]
