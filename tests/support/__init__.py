"""What several tests share: networks, images, stand-ins and helpers."""
