"""What a mix will be, before it is built: from the sources, or from what is known of them."""
