"""The steps, one verb a file: arguments in, a frozen result out; no step imports another."""
