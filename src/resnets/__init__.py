"""Deep residual networks as a practical tool for TensorFlow and Keras."""
