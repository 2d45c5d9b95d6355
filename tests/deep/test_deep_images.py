"""Images in, standardised batches out, and their random changes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from shiftlab.deep.augment import Augmentation, affine_matrices  # noqa: E402
from shiftlab.deep.images import ImageStore, as_image_array, standardise  # noqa: E402

CPU = torch.device("cpu")
STILL = {
    "rotation": 0.0,
    "scale": 0.0,
    "shift": 0.0,
    "polarity": 0.0,
    "contrast": 0.0,
    "noise": 0.0,
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_gray_and_single_channel_images_are_the_same():
    gray = random_images(3, 8, 8)
    assert np.array_equal(as_image_array(gray), as_image_array(gray[..., None]))
    assert np.shares_memory(as_image_array(gray), gray)


def test_tensors_are_taken():
    gray = random_images(3, 8, 8)
    assert np.array_equal(as_image_array(torch.from_numpy(gray))[..., 0], gray)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((5, 20)), ValueError, r"got an array of shape \(5, 20\)"),
        (np.zeros((5, 8, 8), dtype=np.float32), TypeError, "got dtype float32"),
        (np.zeros((5, 3, 8, 8), dtype=np.uint8), ValueError, r"channels first: use .*transpose"),
        (np.zeros((5, 0, 8), dtype=np.uint8), ValueError, r"shape \(5, 0, 8, 1\)"),
    ],
)
def test_what_is_no_image_set_is_one_clear_error(images, error, message):
    with pytest.raises(error, match=message):
        as_image_array(images, name="pictures")


def test_another_shape_than_trained_is_one_clear_error():
    with pytest.raises(ValueError, match=r"\(8, 8, 3\); got \(8, 8, 1\)"):
        as_image_array(random_images(2, 8, 8), shape=(8, 8, 3))


def test_standardise_equals_numpy_image_by_image():
    images = random_images(5, 7, 6, 3)
    z = standardise(torch.from_numpy(images).permute(0, 3, 1, 2).float()).permute(0, 2, 3, 1)
    for image, out in zip(images.astype(np.float64), z.numpy(), strict=True):
        assert np.allclose(out, (image - image.mean()) / image.std(), atol=1e-5)


def test_standardise_leaves_a_flat_image_flat():
    flat = standardise(torch.full((1, 1, 4, 4), 77.0))
    assert torch.equal(flat, torch.zeros(1, 1, 4, 4))


def test_standardised_images_forget_brightness_and_contrast():
    image = torch.rand(1, 1, 6, 6, generator=generator()) * 100 + 20
    assert torch.allclose(standardise(image), standardise(2 * image - 30), atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5, 4, 1), (6, 5, 4, 3)])
def test_store_cuts_the_rows_that_are_asked_for(shape):
    images = random_images(*shape)
    store = ImageStore(images, CPU)
    assert len(store) == 6
    assert store.pixels.dtype == torch.uint8
    batch = store.batch(torch.tensor([4, 1]))
    assert tuple(batch.shape) == (2, shape[3], 5, 4)
    by_hand = standardise(torch.from_numpy(images[[4, 1]]).permute(0, 3, 1, 2).float())
    assert torch.equal(batch, by_hand)
    assert shape[3] == 1 or batch.is_contiguous(memory_format=torch.channels_last)


def test_store_shares_the_caller_s_memory():
    images = random_images(6, 5, 4, 1)
    assert np.shares_memory(ImageStore(images, CPU).pixels.numpy(), images)


def test_all_changes_off_is_the_identity():
    batch = torch.randn(4, 3, 9, 9, generator=generator())
    assert torch.equal(Augmentation(**STILL)(batch, generator()), batch)


def test_polarity_one_is_a_change_of_sign():
    batch = torch.randn(4, 1, 9, 9, generator=generator())
    assert torch.equal(Augmentation(**{**STILL, "polarity": 1.0})(batch, generator()), -batch)


def test_polarity_swaps_the_stated_part_and_colours_partly_apart():
    batch = torch.ones(4000, 3, 1, 1)
    swapped = Augmentation(**{**STILL, "polarity": 0.5})(batch, generator())[:, :, 0, 0] < 0
    assert float(swapped.float().mean()) == pytest.approx(0.5, abs=0.03)
    # Together in half of the images, and by chance in a quarter of the others.
    together = (swapped == swapped[:, :1]).all(dim=1)
    assert float(together.float().mean()) == pytest.approx(0.5 + 0.5 / 4, abs=0.03)


def test_contrast_is_a_gain_and_an_offset_in_range():
    batch = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2).repeat(2000, 1, 1, 1)
    out = Augmentation(**{**STILL, "contrast": 0.3})(batch, generator())[:, 0, 0]
    offset, gain = out[:, 0], out[:, 1] - out[:, 0]
    assert float(offset.abs().max()) <= 0.3
    assert float((gain - 1).abs().max()) <= 0.3 + 1e-6
    assert float(offset.std()) == pytest.approx(0.6 / 12**0.5, rel=0.05)


def test_noise_has_the_stated_strength():
    out = Augmentation(**{**STILL, "noise": 0.2})(torch.zeros(3000, 1, 8, 8), generator())
    # The level is uniform in [0, 0.2]: the mean of its square is 0.2^2 / 3.
    assert float((out**2).mean()) == pytest.approx(0.04 / 3, rel=0.05)


def test_affine_matrix_of_a_quarter_turn_turns_the_picture():
    picture = torch.arange(9.0).reshape(1, 1, 3, 3)
    theta = affine_matrices(torch.tensor([torch.pi / 2]), torch.ones(1, 2), torch.zeros(1, 2))
    grid = torch.nn.functional.affine_grid(theta, [1, 1, 3, 3], align_corners=False)
    out = torch.nn.functional.grid_sample(picture, grid, align_corners=False)
    turned = [torch.rot90(picture, k, dims=(2, 3)) for k in (1, -1)]
    assert any(torch.allclose(out, t, atol=1e-5) for t in turned)


def test_affine_matrix_shifts_by_half_widths():
    picture = torch.zeros(1, 1, 4, 4)
    picture[0, 0, 1, 1] = 1.0
    theta = affine_matrices(torch.zeros(1), torch.ones(1, 2), torch.tensor([[0.5, 0.0]]))
    grid = torch.nn.functional.affine_grid(theta, [1, 1, 4, 4], align_corners=False)
    out = torch.nn.functional.grid_sample(picture, grid, align_corners=False)
    # Half a half-width of 4 pixels is one pixel to the right.
    assert out[0, 0, 1, 2] == pytest.approx(1.0)
    assert out.sum() == pytest.approx(1.0)


def test_affine_matrix_scale_two_doubles_the_size():
    picture = torch.zeros(1, 1, 8, 8)
    picture[0, 0, 3:5, 3:5] = 1.0
    theta = affine_matrices(torch.zeros(1), torch.full((1, 2), 2.0), torch.zeros(1, 2))
    grid = torch.nn.functional.affine_grid(theta, [1, 1, 8, 8], align_corners=False)
    out = torch.nn.functional.grid_sample(picture, grid, align_corners=False)
    assert float(out.sum()) == pytest.approx(4 * float(picture.sum()), rel=0.01)


def test_changes_come_from_the_generator_alone():
    batch = torch.randn(4, 3, 9, 9, generator=generator())
    state = torch.random.get_rng_state()
    first = Augmentation()(batch, generator(1))
    assert torch.equal(first, Augmentation()(batch, generator(1)))
    assert not torch.equal(first, Augmentation()(batch, generator(2)))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_batch_is_not_changed_in_place():
    batch = torch.randn(4, 1, 9, 9, generator=generator())
    kept = batch.clone()
    Augmentation()(batch, generator())
    assert torch.equal(batch, kept)


def test_flat_border_stays_flat_under_affine_changes():
    batch = torch.full((8, 1, 10, 10), 0.7)
    moved = Augmentation(**{**STILL, "rotation": 30.0, "shift": 0.3, "scale": 0.2})
    assert torch.allclose(moved(batch, generator()), batch)


@pytest.mark.parametrize("name", ["rotation", "scale", "shift", "polarity", "contrast", "noise"])
def test_negative_strengths_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be between 0 and"):
        Augmentation(**{name: -0.1})
