"""The page about settings says what the settings say of themselves."""

from oncelog.settings import Settings, variables
from tests.docs.settings_page import PAGE, page


def test_settings_page_is_up_to_date():
    assert PAGE.read_text() == page(), "run python -m tests.docs.settings_page"


def test_every_setting_is_described():
    assert [name for name, field in variables(Settings) if not field.description] == []
