"""Trees of image files, and the idx files of MNIST."""
