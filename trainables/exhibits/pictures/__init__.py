"""The pictures of exhibits, one a file; their panels serve the pictures of reports too."""

from trainables.exhibits.pictures.predictions import draw_predictions as draw_predictions
from trainables.exhibits.pictures.usage import draw_codebook_usage as draw_codebook_usage
