def test_x(two_nights):
    print(two_nights.first, two_nights.second)
    assert two_nights.second.exit_code == 0
    assert two_nights.world.plan()
