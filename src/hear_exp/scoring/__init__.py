"""Events, probabilities -> events, and every score; knows neither tasks nor torch modules."""
