"""What several methods share: learned gates and scores, saliencies added up over batches, scores of single weights."""
