"""Features that products support, by kind; charging protocols are features too."""

from __future__ import annotations

from samples.generate.world import World

FEATURES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "protocol": (
        ("F_PD18", "USB Power Delivery 18 W", "18 W"),
        ("F_PD30", "USB Power Delivery 30 W", "30 W"),
        ("F_PD45", "USB Power Delivery 45 W", "45 W"),
        ("F_PD65", "USB Power Delivery 65 W", "65 W"),
        ("F_PD100", "USB Power Delivery 100 W", "100 W"),
        ("F_PPS", "Programmable Power Supply (PPS)", "27 W"),
        ("F_QC3", "Quick Charge 3.0", "18 W"),
        ("F_TWC40", "TarnCharge 40", "40 W"),
        ("F_QI", "Qi wireless charging", "10 W"),
        ("F_QI2", "Qi2 magnetic charging", "15 W"),
        ("F_PUCK", "magnetic puck charging", "5 W"),
        ("F_USB5", "standard 5 V USB charging", "10 W"),
    ),
    "connectivity": (
        ("F_WIFI5", "Wi-Fi 5", "802.11ac"),
        ("F_WIFI6", "Wi-Fi 6", "802.11ax"),
        ("F_WIFI6E", "Wi-Fi 6E", "802.11ax 6 GHz"),
        ("F_WIFI7", "Wi-Fi 7", "802.11be"),
        ("F_BT50", "Bluetooth 5.0", "5.0"),
        ("F_BT53", "Bluetooth 5.3", "5.3"),
        ("F_MULTIPOINT", "Bluetooth multipoint", "two devices"),
        ("F_NFC", "NFC payments", ""),
        ("F_5G", "5G", "sub-6 GHz"),
        ("F_LTE", "LTE", "Cat 12"),
        ("F_ESIM", "eSIM", ""),
        ("F_DUALSIM", "dual SIM", ""),
        ("F_TB4", "Thunderbolt 4", "40 Gbit/s"),
        ("F_USBC", "USB-C 3.2", "10 Gbit/s"),
        ("F_HDMI", "HDMI 2.1", ""),
        ("F_ETH", "2.5 gigabit Ethernet", "2.5 Gbit/s"),
    ),
    "protection": (
        ("F_IP53", "IP53 splash protection", "IP53"),
        ("F_IP54", "IP54 sweat and dust protection", "IP54"),
        ("F_IP65", "IP65 rain protection", "IP65"),
        ("F_IP67", "IP67 water protection", "IP67"),
        ("F_IP68", "IP68 water protection", "IP68"),
        ("F_5ATM", "5 ATM water resistance", "5 ATM"),
        ("F_10ATM", "10 ATM water resistance", "10 ATM"),
        ("F_MIL", "MIL-STD-810H drop protection", "MIL-STD-810H"),
    ),
    "display": (
        ("F_OLED120", "120 Hz OLED display", "120 Hz"),
        ("F_OLED60", "60 Hz OLED display", "60 Hz"),
        ("F_LCD90", "90 Hz LCD display", "90 Hz"),
        ("F_4K", "4K display", "3840 x 2160"),
        ("F_QHD165", "165 Hz QHD display", "165 Hz"),
        ("F_FHD100", "100 Hz Full HD display", "100 Hz"),
        ("F_EINK", "300 ppi e-ink display", "300 ppi"),
        ("F_AOD", "always-on display", ""),
        ("F_PEN", "stylus input", "4,096 levels"),
    ),
    "audio": (
        ("F_ANC", "active noise cancelling", "35 dB"),
        ("F_ANC2", "adaptive noise cancelling", "48 dB"),
        ("F_SPATIAL", "spatial audio", ""),
        ("F_APTX", "aptX Adaptive", ""),
        ("F_LDAC", "LDAC", "990 kbit/s"),
        ("F_STEREO", "stereo pairing", "two speakers"),
        ("F_ATMOS", "Dolby Atmos", ""),
        ("F_JACK", "3.5 mm headphone jack", ""),
    ),
    "camera": (
        ("F_CAM50", "50 MP main camera", "50 MP"),
        ("F_CAM108", "108 MP main camera", "108 MP"),
        ("F_4K60", "4K video at 60 frames per second", "60 fps"),
        ("F_8K", "8K video", "30 fps"),
        ("F_OIS", "optical image stabilisation", ""),
        ("F_NIGHT", "colour night vision", ""),
        ("F_ZOOM5", "5x optical zoom", "5x"),
        ("F_RAW", "RAW photo capture", ""),
    ),
    "health": (
        ("F_HR", "heart rate sensor", ""),
        ("F_ECG", "ECG", ""),
        ("F_SPO2", "blood oxygen sensor", ""),
        ("F_GPS", "built-in GPS", "dual band"),
        ("F_SLEEP", "sleep tracking", ""),
    ),
    "smart_home": (
        ("F_MATTER", "Matter", "1.3"),
        ("F_ZIGBEE", "Zigbee", "3.0"),
        ("F_THREAD", "Thread border router", ""),
        ("F_VOICE", "voice control", ""),
        ("F_GEOFENCE", "presence detection", ""),
        ("F_LOCALREC", "local recording", "microSD"),
    ),
    "power": (
        ("F_REVERSE", "reverse wireless charging", "5 W"),
        ("F_SOLAR", "solar panel input", "3 W"),
        ("F_SAVER", "ultra power saver", ""),
        ("F_BACKUP", "backup battery", "4 hours"),
    ),
    "security": (
        ("F_FINGER", "fingerprint reader", ""),
        ("F_FACE", "face unlock", ""),
        ("F_GUEST", "guest network", ""),
        ("F_PARENT", "parental controls", ""),
        ("F_WPA3", "WPA3 encryption", ""),
        ("F_SHUTTER", "privacy shutter", ""),
    ),
}


ALIASES: dict[str, list[str]] = {
    "F_PD18": ["PD 18 W"],
    "F_PD30": ["PD 30 W"],
    "F_PD45": ["PD 45 W"],
    "F_PD65": ["PD 65 W"],
    "F_PD100": ["PD 100 W"],
    "F_PPS": ["PPS"],
    "F_QC3": ["QC 3.0"],
    "F_QI": ["Qi charging"],
    "F_QI2": ["Qi2"],
    "F_NFC": ["NFC"],
    "F_MULTIPOINT": ["multipoint"],
    "F_TB4": ["Thunderbolt"],
    "F_IP53": ["IP53"],
    "F_IP54": ["IP54"],
    "F_IP65": ["IP65"],
    "F_IP67": ["IP67"],
    "F_IP68": ["IP68"],
    "F_5ATM": ["5 ATM"],
    "F_10ATM": ["10 ATM"],
    "F_MIL": ["MIL-STD-810H"],
    "F_PEN": ["a stylus"],
    "F_ANC": ["noise cancelling"],
    "F_JACK": ["headphone jack"],
    "F_OIS": ["image stabilisation"],
    "F_GPS": ["GPS"],
    "F_HR": ["pulse measurement"],
}


def add_features(world: World) -> None:
    """Add every Feature node."""
    for kind, rows in FEATURES.items():
        for feature_id, name, value in rows:
            world.add(
                "Feature",
                feature_id,
                name,
                kind=kind,
                value=value or None,
                aliases=ALIASES.get(feature_id),
            )
