"""Score untrained models of timm and transformers, by name or built by hand. Needs the extras vision and nlp."""

import timm
import torch

from autoprox.models import score, size

small = "img_size=64"  # leave it out for the models' own 224 pixels
names = [
    f"timm:deit_tiny_patch16_224?{small}&depth=3",
    f"timm:pit_ti_224?{small}",
    f"timm:xcit_nano_12_p16_224?{small}&depth=3",
    "hf:vit?hidden_size=48&num_hidden_layers=3&num_attention_heads=3&intermediate_size=96&image_size=64",
    "hf:bert?hidden_size=48&num_hidden_layers=2&num_attention_heads=3&intermediate_size=96",
]
for name in names:
    print(f"{score(name, 'snip', batch_size=2):12.4g}  {name}")

torch.manual_seed(0)
model = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=3, num_classes=10)
images, labels = torch.randn(4, 3, 64, 64), torch.randint(10, (4,))
print(f"{score(model, 'snip', (images, labels)):12.4g}  on a batch of one's own, {size(model).params} parameters")
print(
    f"{score(model, 'attention-entropy', images):12.4g}  its attention entropy; what a model lacks has a reason instead:"
)
print(score(names[2], "attention-entropy", batch_size=2))
