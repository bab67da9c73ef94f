"""Partition tables of raw disk images: the protective MBR and the GPT (UEFI 2.10, chapter 5), written and read.

`formats.disk.gpt` has both tables; `formats.disk.hybrid` puts them around an ISO image, so that its bytes can also be
copied to a stick.
"""
