"""What is contested about maps of what a net looks at: data for the page of contested claims.

A dispute whose experiments have no record does not show.
"""

from jaxvision.report.contested import Dispute, Side, cited

DISPUTES = (
    Dispute(
        question="Does guided backprop show what a net has learned?",
        sides=(
            Side(
                "Springenberg et al. 2014 (arXiv 1412.6806), section 3.4",
                "Its maps are cleaner than those of the gradient and of the deconvnet.",
                cited("backward_rules", "mass-guided", "mass-deconvnet"),
            ),
            Side(
                "Nie et al. 2018 (arXiv 1805.07039)",
                "It recovers the image, whatever the weights and the class.",
                cited("backward_rules", "nie-guided", "nie-gradient", "nie-more", "nie-classes"),
            ),
            Side(
                "Adebayo et al. 2018 (arXiv 1810.03292)",
                "It stays as it is when the upper layers are drawn anew; the first version had "
                "that of all layers.",
                cited("backward_rules", "cascade-guided", "cascade-upper", "cascade-all"),
            ),
        ),
        beside=cited("backward_rules", "flat", "agreement"),
    ),
    Dispute(
        question="Does the check by weights drawn anew depend on how maps are drawn?",
        sides=(
            Side(
                "Adebayo et al. 2018 (arXiv 1810.03292), figure 2",
                "The gradient passes it: its ranks are lost when the top layer is drawn anew.",
                cited("backward_rules", "cascade-signed"),
            ),
            Side(
                "Question of ours",
                "The signed gradient does; its absolute value, as it is drawn, keeps ranks.",
                cited("backward_rules", "cascade-sign"),
            ),
        ),
    ),
    Dispute(
        question="Do maps point better than the center of the picture?",
        sides=(
            Side(
                "Zhang et al. 2016 (arXiv 1608.00507), pointing game",
                "The gradient and guided backprop do (76.3 and 75.9 % against 69.6); the "
                "deconvnet does not (67.5).",
                cited("backward_rules", "pointing-guided", "deconvnet-center"),
            ),
            Side(
                "Question of ours",
                "Where objects are large the center is hard to beat; where they are small and "
                "anywhere it says nothing.",
                cited("backward_rules", "center-large", "center-small"),
            ),
        ),
        answer="Not where objects are large: there the center beats them all. Where they are small "
        "guided backprop beats the center, and does not point as the gradient does.",
        upheld=cited("backward_rules", "center-large", "center-small"),
        refuted=cited("backward_rules", "pointing-guided"),
    ),
    Dispute(
        question="Is a map better than an edge detector?",
        sides=(
            Side(
                "Methods that send a signal back to the pixels",
                "Their maps lie on the object because the net looks there.",
                cited("backward_rules", "agreement"),
            ),
            Side(
                "Clark et al. 2023 (arXiv 2306.12816)",
                "What lies on the object is little more than what edges put there.",
                cited("backward_rules", "edges-gradient", "edges-guided"),
            ),
        ),
        beside=cited("backward_rules", "control"),
    ),
    Dispute(
        question="Does a picture that a net likes best show what it means by a class?",
        sides=(
            Side(
                "Nguyen et al. 2015 (arXiv 1412.1897)",
                "A net is sure of pictures in which nobody sees the class.",
                cited("class_pictures", "sure", "unseen"),
            ),
            Side(
                "Simonyan et al. 2013 (arXiv 1312.6034), section 2; Yosinski et al. 2015 "
                "(arXiv 1506.06579), section 3; Olah et al. 2017",
                "With a prior the class shows.",
                cited(
                    "class_pictures",
                    "meaning",
                    "l2",
                    "blur",
                    *(f"yosinski-{number}" for number in range(1, 5)),
                    "fourier",
                    "jitter",
                ),
            ),
        ),
        beside=cited("class_pictures", "short", "control"),
        answer="More so with a prior: other nets see the class oftener where there is L2, a blur "
        "or waves, and with jitter oftener still. Whether they see it oftener in test images than "
        "with waves and jitter depends on the set.",
        upheld=cited("class_pictures", "l2", "blur", "fourier", "jitter"),
    ),
    Dispute(
        question="Is there anything in single units that is not in any direction of their layer?",
        sides=(
            Side(
                "Szegedy et al. 2013 (arXiv 1312.6199), section 3",
                "No: images that a random direction prefers have as much in common.",
                cited(
                    "features_along_training",
                    "directions-he-3",
                    "directions-he-5",
                    "directions-he-bn-3",
                    "directions-he-bn-5",
                ),
            ),
            Side(
                "Bau et al. 2017 (arXiv 1704.05796)",
                "Yes: fewer random directions than units stand for something that has a name.",
                cited("features_along_training", "units-purer-he", "units-purer-he-bn"),
            ),
        ),
        beside=cited("features_along_training", "purer"),
    ),
)
