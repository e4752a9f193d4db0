"""Run folders, and the references by which what lies in them is named."""
