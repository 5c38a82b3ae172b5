"""A search as a loop on this machine, over anything that can start trials one by one."""
