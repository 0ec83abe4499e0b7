"""What the task ``forecasting`` consists of: series, splits of their windows, predictions."""
