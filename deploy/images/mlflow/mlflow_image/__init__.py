"""What the image adds to MLflow: its commands and the checks that they share."""
