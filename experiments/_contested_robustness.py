"""What is contested about attacks on paper and about robustness along training: data for the page.

A dispute whose experiments have no record does not show.
"""

from jaxvision.report.contested import Dispute, Side, cited

DISPUTES = (
    Dispute(
        question="Which adversarial images survive being photographed?",
        sides=(
            Side(
                "Kurakin et al. 2017 (arXiv 1607.02533), table 3",
                "Many do: a photograph destroys 12 to 33 % of the fast attack's images, 40 to 52 % "
                "of the basic iterative one's and 72 to 86 % of the least likely one's.",
                cited("physical_world", "survive-fast", "survive-basic", "most-least")
                + cited("physical_world", "least-photo", "fast-photo"),
            ),
            Side(
                "Question of ours",
                "Each attack was judged on images of its own; on those that all three fool, or at "
                "equal confidence, the order of fast and basic may turn.",
            ),
        ),
        beside=cited("physical_world", "fast-paired", "fast-equal", "readable", "success-fast"),
        answer="In our simulated photographs, too, more is destroyed of the least likely attack's "
        "images than of the basic one's, and more of these than of the fast one's where each has "
        "images of its own; how much it is differs between sets.",
        upheld=cited("physical_world", "least-photo", "fast-photo"),
    ),
    Dispute(
        question="Do surer adversarial images survive a photograph better?",
        sides=(
            Side(
                "Kurakin et al. 2017 (arXiv 1607.02533), table 3",
                "For the fast attack they do; for the iterated ones prefiltering to sure answers "
                "raises what a photograph destroys, up to 87.5 %.",
                cited("physical_world", "prefiltered-fast", "prefiltered-basic")
                + cited("physical_world", "prefiltered-least"),
            ),
            Side(
                "Size of that table",
                "Its cells hold 102 images each and are not corrected for their number.",
            ),
        ),
    ),
    Dispute(
        question="Does training move the boundary towards the images or away from them?",
        sides=(
            Side(
                "Mickisch et al. 2020 (arXiv 2002.01810), abstract",
                "It comes closer over training, late in it as well.",
                cited("robustness_in_training", "closer-he", "closer-xavier", "closer-decay")
                + cited("robustness_in_training", "closer-bn", "closer-small")
                + cited("robustness_in_training", "closer-deepest-he", "closer-deepest-xavier")
                + cited("robustness_in_training", "closer-widest-he"),
            ),
            Side(
                "Lyu & Li 2020 (arXiv 1906.05890), abstract",
                "Once the loss is small the normalized margin grows, and longer training may make "
                "homogeneous nets more robust.",
                cited("robustness_in_training", "farther-he", "farther-xavier", "farther-decay")
                + cited("robustness_in_training", "farther-bn", "farther-small", "margin-grows")
                + cited("robustness_in_training", "farther-deepest-he", "farther-deepest-xavier")
                + cited("robustness_in_training", "farther-widest-he"),
            ),
        ),
        beside=cited("robustness_in_training", "still-he", "still-xavier", "still-small")
        + cited("robustness_in_training", "still-deepest-he", "still-deepest-xavier")
        + cited("robustness_in_training", "still-widest-he")
        + cited("robustness_in_training", "decay-farther", "xavier-farther", "control"),
        answer="Neither: on digits, from three starts, without decay or batch norm, the distance "
        "of nets of three layers stays within a tenth of an octave once they have learned, while "
        "He's normalized margin grows; on MNIST two of the starts come closer by about as much. "
        "Nine layers from He's start move away.",
        upheld=cited("robustness_in_training", "still-he", "still-xavier", "still-small")
        + cited("robustness_in_training", "margin-grows"),
    ),
    Dispute(
        question="What does batch norm cost in robustness?",
        sides=(
            Side(
                "Galloway et al. 2019 (arXiv 1905.02161)",
                "Double digits: a ResNet-110 on CIFAR-10 stands PGD on 8.5 % of the images with "
                "it and on 38.1 % without.",
                cited("robustness_in_training", "bn-cost", "bn-cost-large", "bn-conv", "bn-dense"),
            ),
            Side(
                "Reading of their code",
                "It attacks normalized inputs, so its .03 is some 1.5/255: at sizes in units of "
                "pixels the cost may be small.",
            ),
        ),
        beside=cited("robustness_in_training", "conv-equal"),
        answer="No ten points on our conv nets, which err alike with it and without, at 8/255 in "
        "units of pixels.",
        upheld=cited("robustness_in_training", "conv-equal"),
        refuted=cited("robustness_in_training", "bn-cost-large"),
    ),
    Dispute(
        question="Are deeper nets easier to fool?",
        sides=(
            Side(
                "Zhu et al. 2022 (arXiv 2209.07263), abstract",
                "Depth hurts from He's start and helps from LeCun's; width helps.",
                cited("robustness_in_training", "depth-hurts", "depth-helps", "width-helps"),
            ),
            Side(
                "Bubeck et al. 2021 (arXiv 2104.03863)",
                "Random nets have adversarial examples at the norm of an image over the root of "
                "its pixels, at every depth.",
                cited("robustness_in_training", "start-depth", "half-normal"),
            ),
        ),
        beside=cited("robustness_in_training", "depth-trained", "bn-start-distance")
        + cited("robustness_in_training", "same-depth-he", "same-depth-xavier", "same-width-he"),
        answer="Not here: after training deeper nets are farther from their mistakes from either "
        "start, and so are wider ones.",
        upheld=cited("robustness_in_training", "depth-helps", "width-helps"),
        refuted=cited("robustness_in_training", "depth-hurts"),
    ),
    Dispute(
        question="Does a small gradient mean a robust net?",
        sides=(
            Side(
                "Simon-Gabriel et al. 2019 (arXiv 1802.01421), abstract",
                "The L1 norm of the loss's gradient grows as the root of the number of pixels, "
                "and with it vulnerability; this persists after training.",
                cited("robustness_in_training", "root-d", "root-d-trained", "root-d-margin"),
            ),
            Side(
                "Question of ours",
                "The loss's gradient follows the loss: it shrinks as the net grows sure, wherever "
                "the boundary goes.",
                cited("robustness_in_training", "gradient-falls", "false-friend"),
            ),
        ),
        beside=cited("robustness_in_training", "friend", "margin-friend"),
        answer="Before training the gradient does grow as the root of the pixels, after it it does "
        "not, and a smaller one does not go with a boundary farther off.",
        upheld=cited("robustness_in_training", "root-d"),
        refuted=cited("robustness_in_training", "root-d-trained", "root-d-margin", "friend"),
    ),
)
