"""Two other ways to tell the same photos apart: HOG with an SVM, and a ResNet-18 with the usual recipe."""

import numpy as np
import numpy.typing as npt
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn import functional

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
_CELL, _BINS = 4, 9


def hog_and_svm(photos: Pixels, labels: Labels, asked: Pixels) -> Labels:
    """Histograms of oriented gradients (N. Dalal and B. Triggs, 2005) and a support vector machine."""
    model = make_pipeline(StandardScaler(), SVC(C=10, gamma="scale"))
    model.fit(hog(photos), labels)
    return np.asarray(model.predict(hog(asked)))


def hog(photos: Pixels) -> npt.NDArray[np.float64]:
    """Nine orientations in cells of 4 x 4 pixels, normalised over blocks of 2 x 2 cells, float64 [N, F]."""
    gray = np.sqrt(photos.mean(axis=3) / 255)
    down, across = np.gradient(gray, axis=(1, 2))
    strength, angle = np.hypot(down, across), np.arctan2(down, across) % np.pi
    place = np.minimum((angle / np.pi * _BINS).astype(int), _BINS - 1)
    votes = np.eye(_BINS)[place] * strength[..., None]
    count, side = len(photos), photos.shape[1] // _CELL
    cells = votes.reshape(count, side, _CELL, side, _CELL, _BINS).sum(axis=(2, 4))
    blocks = np.concatenate([cells[:, y : y + side - 1, x : x + side - 1] for y in (0, 1) for x in (0, 1)], axis=3)
    blocks = blocks / np.sqrt((blocks**2).sum(axis=3, keepdims=True) + 1e-4)
    return np.asarray(blocks.reshape(count, -1))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(2))
        same = stride == 1 and inputs == outputs
        self.short: nn.Module = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Two convolutions and what they are added to."""
        inner = self.norms[1](self.second(functional.relu(self.norms[0](self.first(x)))))
        return functional.relu(inner + self.short(x))


def _resnet18(classes: int) -> nn.Sequential:
    widths = (64, 64, 128, 256, 512)
    blocks: list[nn.Module] = []
    for index in range(4):
        blocks.append(_Block(widths[index], widths[index + 1], 1 if index == 0 else 2))
        blocks.append(_Block(widths[index + 1], widths[index + 1], 1))
    entry = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*entry, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def resnet18(photos: Pixels, labels: Labels, asked: Pixels, *, epochs: int, seed: int = 0) -> Labels:
    """ResNet-18 (K. He et al., 2015), 11 million parameters, from scratch: SGD, cosine rate, mirror and shift."""
    torch.manual_seed(seed)
    network = _resnet18(int(labels.max()) + 1).train()
    inputs, targets = _inputs(photos), torch.from_numpy(labels)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.05, total_steps=epochs * (len(targets) // 50))
    for _ in range(epochs):
        order = torch.randperm(len(targets))
        for at in range(0, len(targets) // 50 * 50, 50):
            chosen = order[at : at + 50]
            loss = functional.cross_entropy(network(_shifted(inputs[chosen])), targets[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        return np.asarray(network(_inputs(asked)).argmax(dim=1).numpy())


def _inputs(photos: Pixels) -> Tensor:
    return (torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.26


def _shifted(photos: Tensor) -> Tensor:
    """Padded by 4 pixels, cropped at random, and mirrored or not: the usual augmentation of CIFAR."""
    side = photos.shape[2]
    top, left = torch.randint(0, 9, (2,)).tolist()
    cut = functional.pad(photos, (4, 4, 4, 4))[:, :, top : top + side, left : left + side]
    mirrored = torch.rand(len(photos), 1, 1, 1) < 0.5
    return torch.where(mirrored, cut.flip(3), cut)
