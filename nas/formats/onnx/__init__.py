"""A detector as one ONNX file, checked by running it."""
