"""What is contested about training nets: data for the page of contested claims.

A dispute whose experiments have no record does not show.
"""

from jaxvision.report.contested import Dispute, Side, cited

DISPUTES = (
    Dispute(
        question="Does Xavier's start stall a deep ReLU net, or does SGD?",
        sides=(
            Side(
                "He et al. 2015 (arXiv 1502.01852), figures 2 and 3",
                "At 22 layers both starts converge; at 30 layers Xavier's stalls completely, and "
                "more epochs do not help.",
                cited("he_init", "conv22-both", "mlp22-both", "conv30-xavier", "mlp30-xavier"),
            ),
            Side(
                "Question of ours",
                "The plateau is one of SGD at a small gradient: Adam leaves it at once, and so "
                "does SGD in the end, sooner where layers have biases.",
                cited("he_init", "mlp30-adam")
                + cited("escape_time", "adam", "adam_bias", "biases-help"),
            ),
        ),
        beside=cited("escape_time", "sgd", "sgd_bias"),
        answer="Xavier's start stalls SGD and does not stall Adam: it is a plateau, not a dead "
        "end, and at 22 layers the conv net is on it already.",
        upheld=cited("he_init", "conv30-xavier", "mlp30-xavier", "mlp30-adam")
        + cited("escape_time", "adam", "adam_bias"),
        refuted=cited("he_init", "conv22-both"),
    ),
    Dispute(
        question="Do the first layers of a vanishing net get the smallest weight gradients?",
        sides=(
            Side(
                "Textbook reading of backpropagation",
                "The signal that comes back decays from layer to layer, so the first layers get "
                "the smallest gradients.",
                cited("gradient_flow", "delta-decays")
                + cited("he_init", "conv30-delta-decays", "mlp30-delta-decays"),
            ),
            Side(
                "Algebra of a ReLU net without biases",
                "A weight's gradient is that signal times the layer's input, which shrinks on its "
                "way up as the other does on its way down: the product is flat.",
                cited("gradient_flow", "dw-flat")
                + cited("he_init", "conv30-dw-flat", "mlp30-dw-flat"),
            ),
        ),
    ),
    Dispute(
        question="Are gradients healthy in a plain net with batch norm?",
        sides=(
            Side(
                "He et al. 2016 (arXiv 1512.03385), section 4.1",
                "Gradients of plain nets with batch norm have healthy norms, so vanishing "
                "gradients do not explain why deep plain nets are hard to train.",
                cited("plain_vs_residual", "healthy-0", "healthy-1", "healthy-10", "healthy-100"),
            ),
            Side(
                "Yang et al. 2019 (arXiv 1902.08129)",
                "At the start batch norm makes the squared gradient grow by pi/(pi - 1) a layer; "
                "after one step of training the norms are level.",
                cited("plain_vs_residual", "yang-0", "relaxed-1", "relaxed-10", "relaxed-100")
                + cited("gradient_flow", "relaxes-8", "relaxes-30", "relaxes-100")
                + cited("robustness_in_training", "bn-start-gradient"),
            ),
        ),
        beside=cited("gradient_flow", "batch-norm-factor") + cited("logistic_map", "batch-norm"),
        answer="Both hold, at other steps: gradients explode at the start as theory says, one "
        "step does not mend it, and after a hundred steps they are level at 32 layers. At 56 "
        "layers, on CIFAR-10, they then shrink downwards by a decade, which is no verdict.",
        upheld=cited("plain_vs_residual", "yang-0", "healthy-100", "relaxed-100"),
        refuted=cited("plain_vs_residual", "healthy-0", "relaxed-1"),
    ),
    Dispute(
        question="How badly does a plain net of 110 layers do on CIFAR-10?",
        sides=(
            Side(
                "He et al. 2016 (arXiv 1512.03385), section 4.2",
                "Its error is above 60 %, too high to show.",
                cited("plain_vs_residual", "plain-110"),
            ),
            Side(
                "Li et al. 2018 (arXiv 1712.09913), nets without shortcuts",
                "It trains to an error of 16.4 %, at a rate of .01; 56 layers end at 13.3 % and 20 "
                "at 8.2 %.",
            ),
        ),
        beside=cited("plain_vs_residual", "degradation", "degradation-longer", "no-degradation"),
    ),
    Dispute(
        question="Do added identity layers at least do no harm?",
        sides=(
            Side(
                "He et al. 2016 (arXiv 1512.03385), section 1",
                "A deeper net has a solution by construction, identity layers on a trained "
                "shallower one, so its training error should be no higher; solvers do not find "
                "it.",
                cited("identity_construction", "exact-16", "scratch-16"),
            ),
            Side(
                "Question of ours",
                "Started at that solution, training keeps it.",
                cited("identity_construction", "slow-16", "fast-16", "best-16"),
            ),
        ),
        beside=cited("identity_construction", "limit"),
        answer="The construction is exact, and training keeps it at a low rate only: at its own "
        "best rate the grown net ends worse.",
        upheld=cited("identity_construction", "exact-16", "slow-16", "limit"),
        refuted=cited("identity_construction", "best-16"),
    ),
    Dispute(
        question="Does batch norm work by steadying what layers receive?",
        sides=(
            Side(
                "Ioffe & Szegedy 2015 (arXiv 1502.03167), section 1 and figure 1",
                "Training is slowed down by inputs of layers whose distribution moves (internal "
                "covariate shift); batch norm steadies it.",
                cited("batchnorm", "higher", "steady", "steady-shared"),
            ),
            Side(
                "Santurkar et al. 2018 (arXiv 1805.11604)",
                "Noise after batch norm moves the inputs more than before and does not slow "
                "training down; batch norm makes the loss smoother.",
                cited("batchnorm", "noise-moves", "noise-learns", "noise-costless")
                + cited("batchnorm", "gradients-shift", "predictive", "predictive-own"),
            ),
        ),
        answer="Batch norm does steady what enters the sigmoids behind it, and noise after it "
        "moves that more than it moves without batch norm. Whether a net learns fast all the same "
        "turns round between digits (yes) and MNIST (no), and so does whether batch norm makes "
        "gradients predictable (no, yes).",
        upheld=cited("batchnorm", "steady", "steady-shared", "noise-moves"),
    ),
    Dispute(
        question="How much of batch norm's speed is batch norm's?",
        sides=(
            Side(
                "Ioffe & Szegedy 2015 (arXiv 1502.03167), table 3",
                "With batch norm, five times the rate and further changes at once an Inception net "
                "needs 14 times fewer steps; batch norm alone has 31 % of that on a log scale.",
                cited("batchnorm", "alone", "all", "first-share", "x30-later", "x30-higher"),
            ),
            Side(
                "Question of ours",
                "Taken apart over all orders, batch norm has more than half.",
                cited("batchnorm", "share", "share-rest"),
            ),
        ),
        beside=cited("batchnorm", "rate-alone"),
    ),
    Dispute(
        question="Does dropout need many images?",
        sides=(
            Side(
                "Srivastava et al. 2014, figure 10",
                "With 100 and 500 images dropout gains nothing; the gain rises with the number of "
                "images and declines again.",
                cited("dropout", "few-images", "few-images-500", "more-images", "all-images"),
            ),
            Side(
                "Question of ours",
                "Averaging over nets should help most where one net overfits most, with few "
                "images: the rows of A come out the other way round.",
            ),
        ),
        beside=cited("dropout", "helps"),
        answer="Here it gains most with the fewest images.",
        refuted=cited("dropout", "few-images", "more-images"),
    ),
    Dispute(
        question="Do dropout and batch norm spoil each other?",
        sides=(
            Side(
                "Li et al. 2018 (arXiv 1801.05134)",
                "Before batch norm dropout shifts the variance between training and test, which "
                "costs accuracy (DenseNet on CIFAR-100 falls from 77.4 to 68.6 %).",
                cited("dropout", "shift-law", "shift-costs", "shift-cured"),
            ),
            Side(
                "Li et al. 2018, section 4",
                "After the last batch norm it shifts nothing.",
                cited("dropout", "shift-after"),
            ),
        ),
    ),
    Dispute(
        question="Is the mean over dropout's masks better than scaled weights?",
        sides=(
            Side(
                "Srivastava et al. 2014, figure 11",
                "The mean over 50 masks errs as often as the net with scaled weights.",
                cited("model_averaging", "fifty-masks"),
            ),
            Side(
                "Gal & Ghahramani 2016 (arXiv 1506.02142), abstract",
                "Masks at test time approximate Bayesian averaging, with a better log likelihood.",
                cited("model_averaging", "masks-loss"),
            ),
        ),
        beside=cited("model_averaging", "one-mask", "five-masks"),
    ),
    Dispute(
        question="Up to which depth does a random net train?",
        sides=(
            Side(
                "Schoenholz et al. 2017 (arXiv 1611.01232), figure 5",
                "Up to 6 times the depth xi_c over which correlations decay, at every gain; at "
                "criticality there is no limit.",
                cited("trainability", "rank", "slope", "six-16", "six-32", "six-64", "critical"),
            ),
            Side(
                "Yang et al. 2019 (arXiv 1902.08129), figure 2",
                "With batch norm there is a limit at every gain, from the explosion's rate.",
                cited("trainability", "batch-norm-depth", "batch-norm-gain"),
            ),
        ),
        beside=cited("trainability", "peak", "far"),
        answer="The edge of what trains follows the theory's order but not its proportion: it "
        "falls short where the theory allows great depth.",
        upheld=cited("trainability", "rank", "six-16"),
        refuted=cited("trainability", "slope", "six-64", "critical"),
    ),
    Dispute(
        question="How fast do a plain net's gradients shatter?",
        sides=(
            Side(
                "Balduzzi et al. 2017 (arXiv 1702.08591), abstract",
                "The correlation of gradients at two near inputs decays exponentially with depth.",
                cited("shattered_gradients", "exponential-bn", "exponential"),
            ),
            Side(
                "Closed form of wide nets, Cho & Saul 2009",
                "Without batch norm the inputs' signals grow alike, and the decay slows down to a "
                "power of depth.",
                cited("shattered_gradients", "closed-form-4", "closed-form-16"),
            ),
        ),
        answer="Exponentially with batch norm, more slowly without.",
        upheld=cited("shattered_gradients", "exponential-bn", "closed-form-16"),
        refuted=cited("shattered_gradients", "exponential"),
    ),
    Dispute(
        question="How does a wide net's kernel stop moving?",
        sides=(
            Side(
                "Lee et al. 2019 (arXiv 1902.06720), theorem on wide nets",
                "Its relative change is bounded by a constant over the root of the width.",
                cited("curvature", "lazy-bound"),
            ),
            Side(
                "Dyer & Gur-Ari 2020 (arXiv 1909.11304)",
                "It falls as 1 over the width.",
                cited("curvature", "lazy"),
            ),
        ),
        beside=cited("curvature", "feature"),
    ),
    Dispute(
        question="What does removing AlexNet's layers cost?",
        sides=(
            Side(
                "Zeiler & Fergus 2014 (arXiv 1311.2901), table 3",
                "Without 7, points of top-1 error: -.5; without 6 and 7: +4.3; without 3 and 4: "
                "+4.9; without all four: +30.8.",
                cited("alexnet_removal", "no7-free", "no67-costs", "no34-costs", "collapse")
                + cited("alexnet_removal", "more-than-the-sum"),
            ),
            Side(
                "Lecture slides that go back to R. Fergus",
                "1.1, 5.7, 3.0 and 33.5 points: no column of the table has these numbers.",
                cited("alexnet_removal", "lecture-numbers", "no67-over-no34"),
            ),
        ),
        answer="The lecture's numbers are not the table's, and at our scale convolutions cost "
        "more than dense layers, while the net without all four does not collapse.",
        upheld=cited("alexnet_removal", "no34-costs"),
        refuted=cited("alexnet_removal", "lecture-numbers", "no67-over-no34", "collapse"),
    ),
    Dispute(
        question="How large are AlexNet and GoogLeNet?",
        sides=(
            Side(
                "Krizhevsky et al. 2012, introduction",
                "No convolution of AlexNet has more than 1 % of its parameters.",
                cited("model_sizes", "one-percent"),
            ),
            Side(
                "Szegedy et al. 2015 (arXiv 1409.4842), section 1",
                "GoogLeNet has 12 times fewer parameters than AlexNet.",
                cited("model_sizes", "twelve-times"),
            ),
        ),
        beside=cited("model_sizes", "sixty-million"),
        answer="Counting refutes both sentences.",
        refuted=cited("model_sizes", "one-percent", "twelve-times"),
    ),
    Dispute(
        question="Does the power law of data keep its exponent when the net changes?",
        sides=(
            Side(
                "Hestness et al. 2017 (arXiv 1712.00409), abstract",
                "The error is a power of the number of images; a better model shifts it and leaves "
                "the exponent.",
                cited("data_size", "power-law-steps", "power-law-epochs", "width-shifts")
                + cited("data_size", "moved-shifts"),
            ),
            Side(
                "Question of ours",
                "Moved copies of the images are worth more images, at every size.",
                cited("data_size", "moved-helps", "moved-buys", "moved-late"),
            ),
        ),
        answer="There is a power law, and its exponent changes with the width, which digits settle "
        "and MNIST does not. Moved copies of the images change it on digits and leave it on MNIST.",
        upheld=cited("data_size", "power-law-steps", "power-law-epochs"),
        refuted=cited("data_size", "width-shifts"),
    ),
    Dispute(
        question="Which layer's features are worth most elsewhere?",
        sides=(
            Side(
                "Razavian et al. 2014 (arXiv 1403.6382), accuracy by layer",
                "The deeper, the better, except for the last layers.",
                cited("features_off_the_shelf", "rises-first", "rises-late", "drops")
                + cited("features_off_the_shelf", "rises-second"),
            ),
            Side(
                "Question of ours",
                "Random features may do as well where the data are far from what was learned.",
                cited("features_off_the_shelf", "beats-random", "beats-random-second"),
            ),
        ),
    ),
)
