"""The layouts that platforms write, a module each: headings, frames, states and totals."""

from service.finance.files.profiles.alipay import ALIPAY
from service.finance.files.profiles.profile import Profile, ProfileName
from service.finance.files.profiles.wechat import WECHAT

PROFILES: dict[ProfileName, Profile] = {"wechat": WECHAT, "alipay": ALIPAY}
