"""Media as places to read and write volumes: folders, ISO images and labelled tapes."""
