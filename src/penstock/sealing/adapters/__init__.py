"""What sealing calls: key services far away. The one in the process's own memory is `model.KeyEncryptionKey`."""
