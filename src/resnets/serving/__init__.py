"""A trained network that answers over HTTP. It knows models only by :class:`resnets.serving.model.Model`."""
