"""The architectures of the table: usual ones, and some that are hard to cut."""

ARCHITECTURES = (
    "timm:resnet18", "timm:resnet50", "timm:efficientnet_b0", "timm:tf_efficientnet_b0",
    "timm:mobilenetv3_small_100", "timm:mobilenetv3_large_100", "timm:mobilenetv4_conv_small",
    "timm:rexnet_100", "timm:regnety_004", "timm:convnext_atto", "timm:ghostnet_100",
    "timm:hgnetv2_b0", "timm:densenet121", "timm:vit_tiny_patch16_224", "timm:xcit_nano_12_p16_224",
    "torchvision:resnet18", "torchvision:mobilenet_v3_small", "torchvision:shufflenet_v2_x1_0",
    "torchvision:squeezenet1_1",
)  # fmt: skip
