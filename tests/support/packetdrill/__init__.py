"""An interpreter for the packetdrill language, as far as a TCP without a kernel can play it."""
