"""Workers: processes of this computer or of others that do a part of a command's work (decisions 0037 and 0045)."""
