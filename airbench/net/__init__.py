"""The nets and their layers."""
