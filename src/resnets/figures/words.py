"""What figures say, in English and in Chinese: each text once, under a key."""

from __future__ import annotations

from typing import Literal

from resnets.figures.style import cjk_font

Language = Literal["en", "zh"]

_WORDS: dict[str, tuple[str, str]] = {
    "depth": ("depth: weight layers from the image", "深度：从输入图像起的权重层数"),
    "layers": ("weight layers of the network", "网络的权重层数"),
    "gradient": ("gradient norm per image (log scale)", "每幅图像的梯度范数（对数坐标）"),
    "gradient_title": ("Gradient of the loss by each block's output", "损失对每个块输出的梯度"),
    "plain": ("plain", "普通网络"),
    "residual": ("residual", "残差网络"),
    "train_error": ("training error, %", "训练误差，%"),
    "test_error": ("test error, %", "测试误差，%"),
    "val_error": ("validation error, %", "验证误差，%"),
    "all_error": ("error, %", "误差，%"),
    "all": ("labelled", "带标签的"),
    "measured": ("{network}, {count:,} {split} images of {data}", "{network}，{data} 的 {count:,} 幅{split}图像"),
    "images": ("{count:,} images", "{count:,} 幅图像"),
    "began": ("at the start", "训练前"),
    "trained": ("trained", "训练后"),
    "after": ("after {steps} steps", "{steps} 步之后"),
    "val": ("validation", "验证"),
    "test": ("test", "测试"),
    "train": ("training", "训练"),
    "diverged": ("diverged", "发散"),
    "chance": ("guessing", "随机猜测"),
    "batch": ("batch norm", "批归一化"),
    "group": ("group norm", "组归一化"),
    "none": ("no norm", "无归一化"),
    "he_fan_out": ("He start", "He 初始化"),
    "he_normal": ("He start (fan-in)", "He 初始化（扇入）"),
    "glorot_uniform": ("Glorot start", "Glorot 初始化"),
    "study": (
        "{data}: {images:,} training images of {side} pixels; epochs: {epochs}; seeds: {seeds}",
        "{data}：{images:,} 幅图像，{side} 像素，训练 {epochs} 轮，{seeds} 个随机种子",
    ),
    "epoch": ("epoch", "训练轮数"),
    "loss": ("training loss, nats", "训练损失，奈特"),
    "seeds": ("line: mean; bar: smallest to largest of the seeds", "线：均值；竖线：各随机种子的最小值到最大值"),
    "seed_dots": ("dots: seeds; bar: mean", "圆点：各随机种子；横线：均值"),
    "removed": ("blocks removed", "移除的块数"),
    "block": ("block", "块"),
    "swaps": ("pairs of blocks swapped", "交换的块对数"),
    "path": ("blocks on the path", "路径经过的块数"),
    "share": ("share, %", "占比，%"),
    "paths": ("paths", "路径"),
    "path_gradient": ("gradient norm of one path (log scale)", "单条路径的梯度范数（对数坐标）"),
    "path_share": ("gradient carried", "承载的梯度"),
    "intact": ("intact", "完整"),
    "speaks_for": ("what speaks for the class shines (Grad-CAM)", "发亮处是支持该类别的地方（Grad-CAM）"),
    "halves": ("changes the shape", "改变形状的块"),
}  # fmt: skip


def word(key: str, language: Language = "en", **values: object) -> str:
    """Return a text in a language, its places filled with values."""
    text = _WORDS[key][("en", "zh").index(language)]
    return text.format(**values) if values else text


def languages() -> tuple[Language, ...]:
    """Return the languages that figures can be drawn in: Chinese needs a font that has it."""
    return ("en", "zh") if cjk_font() else ("en",)


def picture(name: str, language: Language) -> str:
    """Return the file name of a picture in a language: "gradients.png", "gradients.zh.png"."""
    return f"{name}.png" if language == "en" else f"{name}.{language}.png"
