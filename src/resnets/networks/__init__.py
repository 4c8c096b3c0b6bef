"""What is learned: network specs, their catalogue, and the builder into Keras models."""
