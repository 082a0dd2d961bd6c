"""Radiometric matching: global methods, which find a gain and an offset a scene, and local ones, which vary within a scene."""

from __future__ import annotations

from typing import Final

from processor.stages.matching.options import (
    GlobalRegressionOptions,
    LocalBlockAdjustmentOptions,
    RobustRegressionOptions,
    SurfaceAdjustmentOptions,
)
from processor.stages.registry import Method

__all__ = ["GLOBAL_METHODS", "LOCAL_METHODS"]

GLOBAL_METHODS: Final = {
    "global_regression": Method(
        options=GlobalRegressionOptions, implementation="processor.stages.matching.global_regression:GlobalRegression"
    ),
    "robust_regression": Method(
        options=RobustRegressionOptions, implementation="processor.stages.matching.robust_regression:RobustRegression"
    ),
}
LOCAL_METHODS: Final = {
    "local_block_adjustment": Method(
        options=LocalBlockAdjustmentOptions,
        implementation="processor.stages.matching.local_block_adjustment:LocalBlockAdjustment",
    ),
    "surface_adjustment": Method(
        options=SurfaceAdjustmentOptions, implementation="processor.stages.matching.surface_method:SurfaceAdjustment"
    ),
}
