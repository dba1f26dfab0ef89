"""The operator: the same observe, decide, apply as `trimtab up`, once for every ModelLoop of a cluster."""
