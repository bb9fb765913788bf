"""Models with MoE layers by name, for any script that calls `timm.create_model`, timm's own too.

Import this file before the script runs, for example by a line at the top of timm's train.py:

    import timm_script
    python train.py --model moe_vit_tiny_patch16_224 --amp-dtype bfloat16 ...
"""

import timm
from timm.models import register_model

import moesuite


@register_model
def moe_vit_tiny_patch16_224(pretrained=False, router="expert_choice", num_experts=8, **kwargs):
    """ViT-Ti/16 with experts in every other block; pretrained weights are upcycled."""
    dense = timm.create_model("vit_tiny_patch16_224", pretrained=pretrained, **kwargs)
    model = moesuite.moefy(
        dense, router, num_experts=num_experts, layers="every_other", renormalise=True
    )
    # the script does not know of auxiliary losses: the layers carry them into backward; under
    # --grad-accum-steps N, with scale=1 / N
    moesuite.carry_aux_loss(model)
    return model
