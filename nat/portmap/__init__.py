"""Port mapping: PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP-IGD, for one UDP port."""
