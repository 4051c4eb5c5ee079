"""What turns raw scores into comparable rewards and probabilities: the service's own fits."""

from guerdon_service.core.statistics.calibration_fit import calibrated_log_loss, fit_norm, fit_slope

__all__ = ["calibrated_log_loss", "fit_norm", "fit_slope"]
