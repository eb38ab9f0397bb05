"""What every other package stands on: settings, files, messages. Nothing here imports PyTorch."""
