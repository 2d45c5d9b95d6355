"""Networks that are trained on both samples, so that what they learn holds for the target."""
