"""The losses as pure functions of tensors, dense and fused with the output layer."""
