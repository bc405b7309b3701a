"""A cheap camera: light, haze, blur, few pixels and a noisy sensor."""

import numpy as np
from PIL import Image, ImageFilter


def shoot(scene: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """Photograph a *scene*, which is several times too large, with *side* pixels a side."""
    half = scene.reduce(2)
    softness = float(rng.choice([0.15, 0.35, 0.7])) * half.width / side
    small = half.filter(ImageFilter.GaussianBlur(softness)).resize((side, side), Image.Resampling.BOX)
    light = np.asarray(small, dtype=np.float64) / 255
    light = light ** np.exp(rng.uniform(-0.35, 0.35)) * rng.uniform(0.75, 1.15, 1) * rng.uniform(0.93, 1.07, 3)
    haze = rng.uniform(0, 0.3) if rng.random() < 0.3 else 0.0
    light = light * (1 - haze) + rng.uniform(0.3, 0.8) * haze
    grain = rng.normal(0, rng.choice([0.01, 0.025, 0.05]), light.shape)
    return Image.fromarray((np.clip(light + grain, 0, 1) * 255).round().astype(np.uint8))
