"""What is contested about breaking nets: data for the page of contested claims.

A dispute whose experiments have no record does not show.
"""

from jaxvision.report.contested import Dispute, Side, cited

DISPUTES = (
    Dispute(
        question="To which data set do 87 % belong?",
        sides=(
            Side(
                "Lecture slide on fast gradients",
                "The fast gradient sign fools a net on 87 % of MNIST's digits.",
                cited("fast_gradient", "slide"),
            ),
            Side(
                "Goodfellow et al. 2014 (arXiv 1412.6572), section 4",
                "87.15 % is the error on CIFAR-10; on MNIST it is 99.9 % of softmax regression "
                "and 89.4 % of a maxout net, at .25.",
                cited("fast_gradient", "softmax-mnist", "dense-mnist"),
            ),
        ),
        beside=cited("fast_gradient", "softmax-falls", "dense-falls", "conv-falls"),
    ),
    Dispute(
        question="Does training on fast gradients make a net robust?",
        sides=(
            Side(
                "Goodfellow et al. 2014 (arXiv 1412.6572), section 6",
                "The error on fast gradients falls from 89.4 to 17.9 %.",
                cited("fast_gradient", "mix-helps", "mix-mnist"),
            ),
            Side(
                "Madry et al. 2018 (arXiv 1706.06083); signs of masking: Athalye et al. 2018 "
                "(arXiv 1802.00420)",
                "The gradient is masked: iterated attacks, noise and other nets' images still "
                "fool the net.",
                cited("fast_gradient", "masked-pgd", "masked-size", "masked-noise", "masked-black")
                + cited("fast_gradient", "worst"),
            ),
        ),
        beside=cited("fast_gradient", "honest", "honest-gap"),
        answer="Only against the attack it was trained on: the worst of all attacks fools it as "
        "often as before. Training on iterated attacks of a smaller size does help.",
        upheld=cited("fast_gradient", "mix-helps", "masked-pgd", "masked-black", "worst", "honest"),
    ),
    Dispute(
        question="Does adversarial training lower the error on clean images?",
        sides=(
            Side(
                "Goodfellow et al. 2014 (arXiv 1412.6572), section 6",
                "Yes: on MNIST from .94 to .84 %.",
                cited("fast_gradient", "clean-gains"),
            ),
            Side(
                "Szegedy et al. 2013 (arXiv 1312.6199), section 4",
                "Examples made for the input do not help; those made for a layer's output do.",
            ),
        ),
        answer="Here it raises the error on clean images.",
        refuted=cited("fast_gradient", "clean-gains"),
    ),
    Dispute(
        question="Does training on adversarial images move the nearest mistake away?",
        sides=(
            Side(
                "Goodfellow et al. 2014 (arXiv 1412.6572), section 6",
                "Training on fast gradients makes a net resist them.",
                cited("fast_gradient", "mix-helps"),
            ),
            Side(
                "Moosavi-Dezfooli et al. 2016 (arXiv 1511.04599), fine-tuning",
                "On DeepFool's images, which are just beyond the boundary, it moves away by half; "
                "on those of fast gradients, which are far beyond, it can come nearer.",
            ),
        ),
        beside=cited("fast_gradient", "worst"),
    ),
    Dispute(
        question="Does one-step training collapse all at once?",
        sides=(
            Side(
                "Andriushchenko & Flammarion 2020 (arXiv 2007.02617), section 5",
                "Even one layer of four filters overfits to the one step: the gradient at an "
                "image turns away from that nearby, and the accuracy under iterated attacks "
                "falls.",
                cited("fast_gradient", "few-filters", "few-turn", "few-collapse"),
            ),
            Side(
                "Wong et al. 2020 (arXiv 2001.03994)",
                "One step from a random start trains robust nets if the steps are not too long.",
            ),
        ),
        beside=cited("fast_gradient", "few-pgd", "few-turn-pgd"),
        answer="Not in our few steps. The gap between one step and many is there from the first "
        "look at the learning net on, wider than after training on many steps, which also turn "
        "the gradient less; on digits the error under many steps hardly rises from its lowest.",
        upheld=cited("fast_gradient", "few-pgd", "few-turn-pgd"),
        refuted=cited("fast_gradient", "few-collapse"),
    ),
    Dispute(
        question="Is an optimized universal perturbation better than a checkerboard?",
        sides=(
            Side(
                "Moosavi-Dezfooli et al. 2017 (arXiv 1610.08401)",
                "One perturbation, made from a few images, fools a net on most others, and other "
                "nets too.",
                cited("universal_perturbation", "beats-random", "most", "transfers"),
            ),
            Side(
                "Notebooks of kenny-co/sgd-uap-torch",
                "A checkerboard that nobody optimized leaves a ResNet-18 14 % of its accuracy on "
                "CIFAR-10, as the optimized one does.",
            ),
        ),
        beside=cited("universal_perturbation", "beats-patterns", "handed-patterns"),
        answer="On the net that it was made for it beats every fixed pattern; handed to another "
        "kind of net, the best fixed pattern does more.",
        upheld=cited("universal_perturbation", "beats-random", "most", "beats-patterns"),
        refuted=cited("universal_perturbation", "handed-patterns"),
    ),
    Dispute(
        question="How many images does one pixel fool?",
        sides=(
            Side(
                "Su et al. 2019 (arXiv 1710.08864), abstract",
                "67.97 % of CIFAR-10's test images can be driven to at least one other class.",
                cited("one_pixel", "fools-color", "two-thirds"),
            ),
            Side(
                "Replications on GitHub (Hyperparticle, DebangLi)",
                "13 to 63 % by net, without a target, fewer where the net is more accurate.",
                cited("one_pixel", "accuracy"),
            ),
        ),
        beside=cited("one_pixel", "fools", "three"),
        answer="Over a tenth of the images, tried exhaustively.",
        upheld=cited("one_pixel", "fools", "fools-color"),
    ),
    Dispute(
        question="Does differential evolution find the pixels that there are?",
        sides=(
            Side(
                "Su et al. 2019 (arXiv 1710.08864), method",
                "400 candidates over 100 generations find them.",
                cited("one_pixel", "evolution"),
            ),
            Side(
                "Default of the library torchattacks",
                "Ten candidates and ten generations are enough.",
            ),
        ),
        beside=cited("one_pixel", "short", "corners"),
        answer="The paper's budget finds what trying everything finds, the library's misses over "
        "5 points, and black and white alone find all of it.",
        upheld=cited("one_pixel", "evolution", "short", "corners"),
    ),
    Dispute(
        question="Are images that fool a net hard to find?",
        sides=(
            Side(
                "Nguyen et al. 2015 (arXiv 1412.1897)",
                "Evolution makes images that mean nothing and of which a net is 99.99 % sure, in "
                "every class of MNIST within 200 generations.",
                cited("fooling_images", "nines-direct", "nines-cppn"),
            ),
            Side(
                "Goodfellow et al. 2014 (arXiv 1412.6572), appendix",
                "Most Gaussian noise is given a class above .5 as it is; softmax regression "
                "resists more than deep nets do.",
                cited("fooling_images", "rubbish", "rubbish-linear"),
            ),
        ),
        beside=cited("fooling_images", "random-short", "evolution-direct", "evolution-cppn"),
        answer="Noise as it is fools a net already, and evolution is surer than drawing at random "
        "with the same budget; whether drawing is enough differs between sets.",
        upheld=cited("fooling_images", "rubbish", "evolution-direct"),
    ),
    Dispute(
        question="Does training with fooling images as a class of their own help?",
        sides=(
            Side(
                "Nguyen et al. 2015 (arXiv 1412.1897), retraining",
                "On MNIST it does not: new fooling images are found after many rounds.",
                cited("fooling_images", "still"),
            ),
            Side(
                "Question of ours",
                "They take longer to find.",
                cited("fooling_images", "harder"),
            ),
        ),
    ),
    Dispute(
        question="Is the gap between noise and attacks the root of the dimension?",
        sides=(
            Side(
                "Fawzi et al. 2016 (arXiv 1608.08967), abstract",
                "Random noise must be larger than the nearest adversarial change by a factor "
                "that grows as the root of the number of pixels.",
                cited("minimal_perturbation", "root-law"),
            ),
            Side(
                "Szegedy et al. 2013 (arXiv 1312.6199), section 4",
                "Noise as large as the smallest adversarial change does next to nothing.",
                cited("minimal_perturbation", "noise"),
            ),
        ),
    ),
    Dispute(
        question="Does depth make a net more steady under shifts?",
        sides=(
            Side(
                "Azulay & Weiss 2019 (arXiv 1805.12177), first version",
                "The deeper the net, the worse.",
                cited("transformations", "deeper-worse"),
            ),
            Side(
                "Zhang 2019 (arXiv 1904.11486), tables",
                "Deeper ResNets give two shifts of an image the same answer more often.",
                cited("transformations", "deeper-better"),
            ),
        ),
        beside=cited("transformations", "blur", "blur-error"),
        answer="On our nets with strides depth makes it worse; a blur before each stride helps.",
        upheld=cited("transformations", "deeper-worse", "blur"),
        refuted=cited("transformations", "deeper-better"),
    ),
    Dispute(
        question="Are nets stable to small moves and turns?",
        sides=(
            Side(
                "Zeiler & Fergus 2014 (arXiv 1311.2901), section 4.1",
                "The output is stable to translations and scalings, not to rotations.",
                cited("transformations", "shift-turn", "scale-turn"),
            ),
            Side(
                "Engstrom et al. 2019 (arXiv 1712.02779)",
                "Small shifts and turns break nets, augmentation helps little, and a search along "
                "the gradient does not find the worst of them.",
                cited("transformations", "breaks", "augmented", "first-order"),
            ),
        ),
        beside=cited("transformations", "learned"),
        answer="Turns harm more than moves on the mean, and the worst of small moves and turns "
        "together fools a net all the same.",
        upheld=cited("transformations", "shift-turn", "scale-turn", "breaks", "augmented"),
    ),
)
