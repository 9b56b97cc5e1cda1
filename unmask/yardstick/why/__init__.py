"""Why a task goes better, or worse, from a pre-trained body: four starts at equal updates, taken apart.

Source: the comparison of fine-tuning with training from scratch of Hao et al. 2019 ("Visualizing and understanding the
effectiveness of BERT"), curves and loss landscapes, of which no code was published; filter normalisation after Li et
al. 2018. It differs in that every start has a rate of its own, in two starts that stand between (a frozen body, the
embeddings alone), in seeds with paired tests, and in the score against the number of labelled rows.
"""
